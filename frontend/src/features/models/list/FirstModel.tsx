import { Loader, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { Empty } from '@/components/Empty';
import { modelsQuery } from '@/lib/models';
import { polled } from '@/lib/polling';

import classes from './FirstModel.module.css';
import { HowToUpload } from './HowToUpload';

/** Somebody looks at this page until it comes. */
const SOON_MS = 1_000;

/** What an account without models sees: how to get the first one. It appears here by itself. */
export function FirstModel(): ReactElement {
  useQuery({ ...modelsQuery, refetchInterval: polled(() => SOON_MS) });
  return (
    <Empty title="Upload your first model">
      <Text maw="44rem">
        A model that you trained becomes an API in one line of Python. It is compared with the original before
        it leaves your computer, checked and measured by a host, and then it answers.
      </Text>
      <div className={classes.how}>
        <HowToUpload />
      </div>
      <Text size="sm" className={classes.waiting ?? ''} role="status">
        <Loader size="xs" aria-hidden="true" />
        Waiting for it: your model appears here by itself as soon as its upload begins.
      </Text>
    </Empty>
  );
}
