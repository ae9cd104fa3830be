import { Alert, Text } from '@mantine/core';
import type { ReactElement } from 'react';

import { Code } from '@/components/Code';
import { Panel } from '@/components/Panel';
import { formatExact } from '@/lib/format';

import { Fact, Facts } from '../Facts';
import { formatError } from './errors';
import { type Compared, largestDifference, readReceipt, type Receipt } from './receipt';
import classes from './ReceiptPanel.module.css';
import { KindsTable, OutputsTable } from './ReceiptTables';
import { QuantisationPart } from './QuantisationPart';

/** How the converted model compares with the original, as its uploader's client found. */
export function ReceiptPanel({ receipt: told }: { receipt: unknown }): ReactElement | null {
  if (told === null || told === undefined) return null;
  const receipt = readReceipt(told);
  return (
    <Panel
      title="Receipt"
      description="Before the upload, the converted model and the original answered the same rows, on the uploader’s computer. This is what came of it."
    >
      {receipt ? (
        <Told receipt={receipt} />
      ) : (
        <Code code={JSON.stringify(told, null, 2)} language="json" what="the receipt as it came" />
      )}
    </Panel>
  );
}

function Told({ receipt }: { receipt: Receipt }): ReactElement {
  const { compared, quantisation, notes, versions, platform } = receipt;
  const made = Object.entries(versions).map(([name, version]) =>
    name === 'framework' ? version : `${name} ${version}`,
  );
  return (
    <div className={classes.parts}>
      {compared ? <Comparison compared={compared} /> : <NotCompared reason={receipt.reason} />}
      {quantisation && <QuantisationPart quantisation={quantisation} />}
      {notes.length > 0 && (
        <ul className={classes.notes} aria-label="Notes of the converter">
          {notes.map((note, index) => (
            <li key={index}>{note}</li>
          ))}
        </ul>
      )}
      <Facts>
        {compared?.sample && (
          <Fact
            label="Sample"
            value={`${formatExact(compared.sample.rows)} rows`}
            means={<>Given by the uploader. SHA-256 {compared.sample.sha256}</>}
          />
        )}
        {made.length > 0 && <Fact label="Made with" value={made.join(', ')} />}
        {platform && <Fact label="On" value={platform} />}
      </Facts>
    </div>
  );
}

function NotCompared({ reason }: { reason: string }): ReactElement {
  return (
    <Alert color="orange" variant="light" title="Nothing was compared">
      {reason || 'The client gave no reason.'}
    </Alert>
  );
}

function Comparison({ compared }: { compared: Compared }): ReactElement {
  const { tolerance } = compared;
  return (
    <>
      {compared.differences.length > 0 ? <Mismatch compared={compared} /> : <Agreement compared={compared} />}
      <OutputsTable compared={compared} />
      <KindsTable kinds={compared.kinds} />
      <Text size="sm" c="dimmed">
        A number may differ by {formatError(tolerance.relative)} of itself, or{' '}
        {formatError(tolerance.absolute)} of its output’s largest. A label may differ only in a tie: where the
        original itself is undecided.
      </Text>
    </>
  );
}

function Agreement({ compared }: { compared: Compared }): ReactElement {
  return (
    <Alert
      color="green"
      variant="light"
      title={`It answers like the original on ${formatExact(compared.rows)} rows`}
    >
      The largest difference of any number is {formatError(largestDifference(compared))} of its output’s
      largest value.
    </Alert>
  );
}

function Mismatch({ compared }: { compared: Compared }): ReactElement {
  return (
    <Alert
      color="red"
      variant="light"
      title="It does not answer like the original, and its owner let that pass"
    >
      <ul className={classes.notes}>
        {compared.differences.map(({ output, kind, differing, rows, what, inputs }, index) => (
          <li key={index}>
            {output && (
              <>
                <code>{output}</code>:{' '}
              </>
            )}
            {differing} of {rows} {kind} rows differ; {what}.{inputs && ` Its inputs: ${inputs}.`}
          </li>
        ))}
        {compared.differencesLeftOut > 0 && <li>and {compared.differencesLeftOut} more</li>}
      </ul>
    </Alert>
  );
}
