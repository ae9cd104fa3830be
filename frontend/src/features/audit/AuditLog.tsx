import { Button, Group, Stack, Text } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { Empty } from '@/components/Empty';
import { ErrorPanel } from '@/components/ErrorPanel';
import { Panel } from '@/components/Panel';
import { Waiting } from '@/components/Waiting';

import { AuditTable } from './AuditTable';
import { Downloads } from './Downloads';
import { Filters } from './Filters';
import { ALL, pick } from './filters';
import { type AuditLine, auditQuery } from './queries';
import { VerifyPanel } from './VerifyPanel';

/** One log: picked out, page by page, and verified. `account`: whose; empty for one's own. */
export function AuditLog({ account }: { account: string }): ReactElement {
  const [asked, setAsked] = useState({ action: '', object: '' });
  const [picked, setPicked] = useState(ALL);
  const pages = useInfiniteQuery(auditQuery({ account, ...asked }));
  const loaded: AuditLine[] = pages.data?.pages.flatMap((page) => page.entries) ?? [];
  const shown = pick(loaded, picked);
  return (
    <Stack>
      <Panel
        title="Entries"
        actions={
          <Group gap="xs">
            <Button
              size="xs"
              variant="default"
              loading={pages.isRefetching && !pages.isFetchingNextPage}
              onClick={() => void pages.refetch()}
            >
              Refresh
            </Button>
            <Downloads lines={shown} />
          </Group>
        }
      >
        <Filters asked={asked} onAsk={setAsked} picked={picked} onPick={setPicked} loaded={loaded.length} />
        <Found
          pages={pages}
          loaded={loaded}
          shown={shown}
          filtered={asked.action !== '' || asked.object !== ''}
          onObject={(object) => setAsked({ ...asked, object })}
        />
      </Panel>
      <VerifyPanel account={account} />
    </Stack>
  );
}

interface FoundProps {
  pages: ReturnType<typeof useInfiniteQuery>;
  loaded: readonly AuditLine[];
  shown: readonly AuditLine[];
  filtered: boolean;
  onObject: (id: string) => void;
}

function Found({ pages, loaded, shown, filtered, onObject }: FoundProps): ReactElement {
  if (pages.isPending) return <Waiting lines={8} />;
  if (pages.data === undefined) {
    return <ErrorPanel error={pages.error} onRetry={() => void pages.refetch()} />;
  }
  if (loaded.length === 0 && !filtered) return <Nothing />;
  return (
    <>
      {shown.length > 0 ? (
        <AuditTable lines={shown} onObject={onObject} />
      ) : (
        <Text size="sm" c="dimmed" my="md">
          {loaded.length === 0 ? 'There is no such entry.' : 'None of the loaded entries is like that.'}
        </Text>
      )}
      {pages.isFetchNextPageError && (
        <ErrorPanel error={pages.error} title="The older entries did not come" />
      )}
      <Group justify="space-between" mt="md">
        <Text size="sm" c="dimmed" aria-live="polite">
          {said(shown.length, loaded.length)}
          {!pages.hasNextPage && ' That is all there is.'}
        </Text>
        {pages.hasNextPage && (
          <Button
            variant="default"
            loading={pages.isFetchingNextPage}
            onClick={() => void pages.fetchNextPage()}
          >
            Load older entries
          </Button>
        )}
      </Group>
    </>
  );
}

function said(shown: number, loaded: number): string {
  const entries = loaded === 1 ? 'entry' : 'entries';
  return shown === loaded ? `${loaded} ${entries} loaded.` : `${shown} of ${loaded} loaded ${entries}.`;
}

function Nothing(): ReactElement {
  return (
    <Empty title="Nothing was done yet">
      Log-ins, keys, uploads, traffic changes and deletions appear here with who did them and from where, and
      so does what was refused.
    </Empty>
  );
}
