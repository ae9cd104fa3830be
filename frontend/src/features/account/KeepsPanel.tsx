import { Progress } from '@mantine/core';
import type { ReactElement } from 'react';

import { Panel } from '@/components/Panel';
import type { Schema } from '@/lib/api/client';
import { formatBytes, formatExact } from '@/lib/format';

import classes from './KeepsPanel.module.css';

const NEARLY = 0.9;

export function KeepsPanel({ keeps }: { keeps: Schema['Keeps'] }): ReactElement {
  return (
    <Panel title="What you keep" description="More than this is refused, and nothing is left behind.">
      <div className={classes.meters}>
        <Meter label="Models" quota={keeps.models} format={formatExact} />
        <Meter label="Bytes of all versions" quota={keeps.bytes} format={formatBytes} />
        <Meter label="Pinned models" quota={keeps.pinned_models} format={formatExact} />
      </div>
    </Panel>
  );
}

interface Props {
  label: string;
  quota: Schema['Quota'];
  format: (count: number) => string;
}

function Meter({ label, quota: { used, max }, format }: Props): ReactElement {
  const share = max > 0 ? used / max : 1;
  const words = `${format(used)} of ${format(max)}`;
  return (
    <div>
      <div className={classes.words}>
        <span>{label}</span>
        <span className={classes.figures}>
          {words}
          {share >= NEARLY && ' · nearly full'}
        </span>
      </div>
      <Progress.Root size="sm">
        <Progress.Section
          value={Math.round(Math.min(1, share) * 100)}
          color={share >= NEARLY ? 'red' : 'rocket'}
          aria-label={label}
          aria-valuetext={words}
        />
      </Progress.Root>
    </div>
  );
}
