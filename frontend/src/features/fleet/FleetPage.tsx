import { Stack } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { Loaded } from '@/components/Loaded';
import { PageHeader } from '@/components/PageHeader';

import { DecisionsPanel } from './DecisionsPanel';
import { DemoPanel } from './DemoPanel';
import { FleetStats } from './FleetStats';
import { HostsPanel } from './HostsPanel';
import { QuarantinePanel } from './QuarantinePanel';
import { fleetQuery } from './queries';
import { Stale } from './Stale';

/** For operators: the hosts, what is on them, and why. */
export function FleetPage(): ReactElement {
  const fleet = useQuery(fleetQuery);
  return (
    <>
      <PageHeader
        title="Fleet"
        description="The hosts that run models, what is on each of them, and what the coordinator decided."
      />
      <Stack>
        <Loaded query={fleet}>
          {(shown) => (
            <>
              <Stale query={fleet} decidedAt={shown.decided_at} />
              <FleetStats fleet={shown} />
              <HostsPanel fleet={shown} />
              <QuarantinePanel versions={shown.quarantined} />
              <DecisionsPanel />
            </>
          )}
        </Loaded>
        <DemoPanel />
      </Stack>
    </>
  );
}
