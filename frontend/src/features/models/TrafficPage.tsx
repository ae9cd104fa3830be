import { Stack } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { Loaded } from '@/components/Loaded';
import { Panel } from '@/components/Panel';
import { versionsQuery } from '@/lib/models';

import { trafficQuery } from './queries';
import { ChangeForm } from './traffic/ChangeForm';
import { History } from './traffic/History';
import { JudgementPanel } from './traffic/JudgementPanel';
import { WhoAnswers } from './traffic/WhoAnswers';
import { useModelId } from './useModel';

/** Who answers, who is on trial and how that goes, and how it came to be. */
export function TrafficPage(): ReactElement {
  const modelId = useModelId();
  const traffic = useQuery(trafficQuery(modelId));
  const versions = useQuery(versionsQuery(modelId));
  return (
    <Stack>
      <Loaded query={traffic}>
        {(found) => (
          <>
            <WhoAnswers modelId={modelId} traffic={found} />
            {found.candidate && <JudgementPanel candidate={found.candidate} />}
            <Panel
              title="Change who answers"
              description="A new version can be tried on a few callers, or beside the active one without answering anybody, before it takes over."
            >
              <Loaded query={versions}>
                {(all) => <ChangeForm modelId={modelId} traffic={found} versions={all} />}
              </Loaded>
            </Panel>
            <Panel title="History" description="Every change of who answers, the newest first.">
              <History changes={found.history} />
            </Panel>
          </>
        )}
      </Loaded>
    </Stack>
  );
}
