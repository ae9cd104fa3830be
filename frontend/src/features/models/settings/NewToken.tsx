import { Alert, Button, Text, TextInput } from '@mantine/core';
import { type ReactElement, useState } from 'react';

import { Copy } from '@/components/Copy';
import { ErrorPanel } from '@/components/ErrorPanel';

import { useNewToken } from './mutations';
import classes from './Settings.module.css';

const NAME_LENGTH_MAX = 100;

/** Makes tokens, one after the other: each is asked for anew, whatever it is called. */
export function NewToken({ modelId }: { modelId: string }): ReactElement {
  const [kept, setKept] = useState(0);
  return <OneToken key={kept} modelId={modelId} onKept={() => setKept(kept + 1)} />;
}

/** Makes a token, and shows its secret until it is put away. */
function OneToken({ modelId, onKept }: { modelId: string; onKept: () => void }): ReactElement {
  const [name, setName] = useState('');
  const make = useNewToken(modelId);
  if (make.data) {
    return <Secret token={make.data.token} onKept={onKept} />;
  }
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        make.mutate({ name: name.trim() });
      }}
    >
      <div className={classes.make}>
        <TextInput
          label="Name of a new token"
          placeholder="website"
          maxLength={NAME_LENGTH_MAX}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          autoComplete="off"
        />
        <Button type="submit" loading={make.isPending}>
          Make a token
        </Button>
      </div>
      {make.error && <ErrorPanel error={make.error} />}
    </form>
  );
}

function Secret({ token, onKept }: { token: string; onKept: () => void }): ReactElement {
  return (
    <Alert color="green" variant="light" title="Your new token" role="status">
      <Text size="sm">It is shown only now: only its SHA-256 is kept. Copy it to where it is used.</Text>
      <div className={classes.secret}>
        <code>{token}</code>
        <Copy text={token} what="the token" />
      </div>
      <Button size="xs" variant="default" onClick={onKept}>
        I have kept it
      </Button>
    </Alert>
  );
}
