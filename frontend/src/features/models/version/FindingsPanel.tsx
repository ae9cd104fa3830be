import { Badge } from '@mantine/core';
import type { ReactElement } from 'react';

import { Panel } from '@/components/Panel';
import type { Schema } from '@/lib/api/client';
import { formatBytes, formatExact } from '@/lib/format';

import { Fact, Facts } from '../Facts';
import classes from './FindingsPanel.module.css';
import { operators } from './operators';

/** What the model firewall saw before anything ran the file. */
export function FindingsPanel({ findings }: { findings: Schema['Findings'] }): ReactElement {
  return (
    <Panel
      title="Firewall findings"
      description="What the file is made of. It was looked at in a sandbox before anything ran it, and nothing in it was refused."
    >
      <Facts>
        <Fact
          label="File"
          value={formatBytes(findings.bytes)}
          means={`ONNX, IR version ${findings.ir_version}.`}
        />
        <Fact
          label="Operator sets"
          value={Object.entries(findings.opsets)
            .map(([domain, version]) => `${domain} ${version}`)
            .join(', ')}
          means="Which vocabulary of ONNX it is written in."
        />
        <Fact
          label="Nodes"
          value={formatExact(findings.nodes)}
          means={
            findings.depth === 0
              ? 'Steps of the computation. No loops or branches.'
              : `Steps of the computation, with graphs inside graphs ${findings.depth} deep (loops and branches).`
          }
        />
        <Fact
          label="Weights"
          value={`${formatExact(findings.weights)}, ${formatBytes(findings.weight_bytes)}`}
          means="Tensors in the file: what was learned."
        />
        <Fact
          label="Interface"
          value={`${findings.inputs} in, ${findings.outputs} out`}
          means="Inputs and outputs of the graph."
        />
        <Fact
          label="Metadata"
          value={formatBytes(findings.metadata_bytes)}
          means="What the file says of itself; nobody acts on it."
        />
        <Fact label="Operators" value={<Operators findings={findings} />} />
      </Facts>
    </Panel>
  );
}

function Operators({ findings }: { findings: Schema['Findings'] }): ReactElement {
  return (
    <ul className={classes.operators}>
      {operators(findings).map(({ name, domain, count }) => (
        <li key={`${domain}.${name}`}>
          <Badge variant="default" tt="none" fw={500}>
            {domain && `${domain} `}
            {name} × {formatExact(count)}
          </Badge>
        </li>
      ))}
    </ul>
  );
}
