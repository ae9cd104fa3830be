import { Alert, Button, Group, Stack, Text } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { Copy } from '@/components/Copy';
import { ErrorPanel } from '@/components/ErrorPanel';
import { Panel } from '@/components/Panel';

import classes from './audit.module.css';
import { CompareForm } from './CompareForm';
import { verifiedBehind } from './queries';
import { type Progress, type Result, verify } from './verifying';

/** Proves that the log is as it was written. */
export function VerifyPanel({ account }: { account: string }): ReactElement {
  const [progress, setProgress] = useState<Progress | null>(null);
  const verification = useMutation({
    mutationFn: () => verify((after) => verifiedBehind(after, account), setProgress),
    onMutate: () => setProgress(null),
  });
  return (
    <Panel
      title="Verify the log"
      description="Every entry holds the hash of the one before it. The server computes all of them again and says whether one was changed, taken out or put in. Keep the last hash somewhere else: with it you can tell later that nothing up to there was changed, whoever has the server."
    >
      <Stack gap="sm">
        <Group gap="sm">
          <Button loading={verification.isPending} onClick={() => verification.mutate()}>
            Verify the log
          </Button>
          <Text size="sm" c="dimmed" aria-live="polite">
            {verification.isPending &&
              progress &&
              `Entries ${progress.first} to ${progress.last} are right so far`}
          </Text>
        </Group>
        {verification.isError && <ErrorPanel error={verification.error} title="The log was not verified" />}
        {verification.isSuccess && <Told result={verification.data} />}
        <CompareForm account={account} />
      </Stack>
    </Panel>
  );
}

/** What was found, in words. */
export function Told({ result: { ok, text, kept } }: { result: Result }): ReactElement {
  return (
    <Alert
      color={ok ? 'green' : 'red'}
      title={ok ? 'The log is right' : 'The log is not right'}
      role={ok ? 'status' : 'alert'}
      variant="light"
    >
      <Text size="sm">{text}</Text>
      {kept && (
        <>
          <Text size="sm" mt="xs">
            To keep: the hash of entry {kept.number}.
          </Text>
          <Group gap="xs">
            <code className={classes.hash}>{kept.hash}</code>
            <Copy text={`${kept.number} ${kept.hash}`} what="the number and hash" />
          </Group>
        </>
      )}
    </Alert>
  );
}
