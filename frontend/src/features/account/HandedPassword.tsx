import { Button, Group, Stack, Text } from '@mantine/core';
import type { ReactElement } from 'react';

import { Copy } from '@/components/Copy';

import classes from './HandedPassword.module.css';

interface Props {
  email: string;
  password: string;
  onClose: () => void;
}

/** What is to be told to somebody, and is nowhere to be seen afterwards. */
export function HandedPassword({ email, password, onClose }: Props): ReactElement {
  return (
    <Stack>
      <Text>
        Tell {email} this password, on a way that nobody else reads. It is shown only now, and has to be
        replaced at the first log-in.
      </Text>
      <Group className={classes.secret ?? ''} justify="space-between">
        <code>{password}</code>
        <Copy text={password} what="the password" />
      </Group>
      <Group justify="flex-end">
        <Button onClick={onClose}>Done</Button>
      </Group>
    </Stack>
  );
}
