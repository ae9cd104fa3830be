import { Stack } from '@mantine/core';
import type { ReactElement } from 'react';

import { Copy } from '@/components/Copy';
import { Panel } from '@/components/Panel';
import { formatTime } from '@/lib/format';

import { Fact, Facts } from './Facts';
import { DeleteModel } from './settings/DeleteModel';
import classes from './settings/Settings.module.css';
import { TokensPanel } from './settings/TokensPanel';
import { useModel } from './useModel';

/** What a model is called by, who may call it, and how to delete it. */
export function SettingsPage(): ReactElement {
  const model = useModel();
  return (
    <Stack>
      <Panel title="This model">
        <Facts>
          <Fact label="Name" value={model.name} means="Upload under it again for a new version." />
          <Fact label="Id" value={<Copied text={model.id} what="the id" />} />
          <Fact label="Answers at" value={<Copied text={model.url} what="the address" />} />
          <Fact label="Since" value={formatTime(model.created_at)} means="When its first upload began." />
        </Facts>
      </Panel>
      <TokensPanel model={model} />
      <DeleteModel model={model} />
    </Stack>
  );
}

function Copied({ text, what }: { text: string; what: string }): ReactElement {
  return (
    <span className={classes.copied}>
      <code>{text}</code>
      <Copy text={text} what={what} />
    </span>
  );
}
