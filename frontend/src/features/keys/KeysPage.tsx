import { Button, Stack } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { Loaded } from '@/components/Loaded';
import { PageHeader } from '@/components/PageHeader';
import { type Key, keysQuery } from '@/lib/keys';

import { CreateKeyDialog } from './CreateKeyDialog';
import { ExplainDialog } from './ExplainDialog';
import { KeyList } from './KeyList';
import type { Issued } from './mutations';
import { NoKeys } from './NoKeys';
import { RevokeDialog } from './RevokeDialog';
import { RotateDialog } from './RotateDialog';
import { SecretDialog } from './SecretDialog';

/** What is being done, and to which key. */
export type Doing =
  { what: 'create' } | { what: 'explain'; key: Key | null } | { what: 'revoke' | 'rotate'; key: Key };

export function KeysPage(): ReactElement {
  const keys = useQuery(keysQuery);
  const [doing, setDoing] = useState<Doing | null>(null);
  const [issued, setIssued] = useState<Issued | null>(null);
  const close = () => setDoing(null);
  const onIssued = (made: Issued) => {
    close();
    setIssued(made);
  };
  return (
    <>
      <PageHeader
        title="API keys"
        description="An API key may do what its scopes say. A model token runs one model and nothing else: give that to whoever calls a model."
        actions={
          <>
            <Button variant="default" onClick={() => setDoing({ what: 'explain', key: null })}>
              Explain a key
            </Button>
            <Button onClick={() => setDoing({ what: 'create' })}>Create a key</Button>
          </>
        }
      />
      <Stack>
        <Loaded query={keys} isEmpty={(all) => all.length === 0} empty={<NoKeys />}>
          {(all) => <KeyList keys={all} onDo={setDoing} />}
        </Loaded>
      </Stack>
      {doing && <Dialog doing={doing} keys={keys.data ?? []} onClose={close} onIssued={onIssued} />}
      {issued && <SecretDialog issued={issued} onClose={() => setIssued(null)} />}
    </>
  );
}

interface DialogProps {
  doing: Doing;
  keys: readonly Key[];
  onClose: () => void;
  onIssued: (issued: Issued) => void;
}

function Dialog({ doing, keys, onClose, onIssued }: DialogProps): ReactElement {
  switch (doing.what) {
    case 'create':
      return <CreateKeyDialog onClose={onClose} onIssued={onIssued} />;
    case 'explain':
      return <ExplainDialog chosen={doing.key} keys={keys} onClose={onClose} />;
    case 'revoke':
      return <RevokeDialog keyInfo={doing.key} onClose={onClose} />;
    case 'rotate':
      return <RotateDialog keyInfo={doing.key} onClose={onClose} onIssued={onIssued} />;
  }
}
