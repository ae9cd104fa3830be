import { Stack } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { Loaded } from '@/components/Loaded';
import { Panel } from '@/components/Panel';
import { versionsQuery } from '@/lib/models';

import { Arriving } from './overview/Arriving';
import { Figures } from './overview/Figures';
import { newestFirst, spokesman } from './overview/versions';
import { VersionsTable } from './overview/VersionsTable';
import { SignaturePanel } from './SignaturePanel';
import { useModel } from './useModel';

/** What a model takes, which versions it has, and what is happening to the newest. */
export function OverviewPage(): ReactElement {
  const model = useModel();
  const versions = useQuery(versionsQuery(model.id));
  return (
    <Stack>
      <Arriving model={model} />
      <Loaded query={versions}>
        {(found) => {
          const shown = spokesman(found, model);
          return (
            <>
              {model.active !== null && <Figures model={model} version={shown} />}
              {shown?.signature && <SignaturePanel signature={shown.signature} />}
              <Panel
                title="Versions"
                description="Every upload under this name. They do not change; which of them answers does."
              >
                <VersionsTable model={model} versions={newestFirst(found)} />
              </Panel>
            </>
          );
        }}
      </Loaded>
    </Stack>
  );
}
