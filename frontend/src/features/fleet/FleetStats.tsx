import type { ReactElement } from 'react';

import { Ago } from '@/components/Ago';
import { Stat, Stats } from '@/components/Stat';
import { formatBytes, formatExact, formatShare } from '@/lib/format';

import { totals } from './capacity';
import type { Fleet } from './queries';

/** The whole fleet in figures. */
export function FleetStats({ fleet }: { fleet: Fleet }): ReactElement {
  const { hosts, memoryUsed, memoryMax, inFlight, slots } = totals(fleet.hosts);
  return (
    <Stats>
      <Stat
        label="Hosts"
        value={fleet.wanted === null ? hosts : `${hosts} of ${fleet.wanted}`}
        hint={
          fleet.boot_seconds === null
            ? 'nobody starts or stops them'
            : `there, of those wanted; one takes ${Math.round(fleet.boot_seconds)} s to come`
        }
      />
      <Stat
        label="Memory"
        value={memoryMax > 0 ? formatShare(memoryUsed / memoryMax) : '–'}
        hint={`${formatBytes(memoryUsed)} of ${formatBytes(memoryMax)} used by models`}
      />
      <Stat
        label="Slots busy"
        value={`${formatExact(inFlight)} of ${formatExact(slots)}`}
        hint="requests under way, of what runs well at once"
      />
      <Stat
        label="Versions to prepare"
        value={formatExact(fleet.jobs_unfinished)}
        hint={fleet.jobs_unfinished > 0 ? 'waiting for a host, or on one' : 'none waits'}
      />
      <Stat
        label="Last pass"
        value={fleet.decided_at === null ? 'none yet' : <Ago at={fleet.decided_at} />}
        hint={fleet.epoch === null ? 'of the coordinator' : `of the coordinator, epoch ${fleet.epoch}`}
      />
    </Stats>
  );
}
