import type { ReactElement } from 'react';

import { Code } from '@/components/Code';
import { Copy } from '@/components/Copy';
import { Panel } from '@/components/Panel';
import { formatTime } from '@/lib/format';
import type { Report } from '@/lib/models';

import { Fact, Facts } from '../Facts';
import classes from './OriginPanel.module.css';

const FILES: Readonly<Record<string, string>> = {
  model: 'The graph that was uploaded.',
  weights: 'The file of weights beside it.',
};

/** Where a version comes from: its bytes, who prepared it, a row that it ran on. */
export function OriginPanel({ report }: { report: Report }): ReactElement {
  const { hashes, prepared_by, example } = report;
  return (
    <Panel
      title="Origin"
      description="Which bytes this is, and what kind of host prepared it. The same SHA-256 is the same file."
    >
      <Facts>
        {Object.entries(hashes).map(([file, sha256]) => (
          <Fact
            key={file}
            label={`SHA-256, ${file}`}
            value={
              <span className={classes.hash} title={FILES[file]}>
                <code>{sha256}</code>
                <Copy text={sha256} what={`the SHA-256 of the ${file}`} />
              </span>
            }
          />
        ))}
        <Fact
          label="Uploaded"
          value={formatTime(report.created_at)}
          means={`Made with ${report.framework || 'an unknown framework'}.`}
        />
        {prepared_by && (
          <>
            <Fact
              label="onnxruntime"
              value={prepared_by.onnxruntime}
              means="The version that prepared and measured it."
            />
            <Fact label="Host class" value={<code>{prepared_by.host_class}</code>} />
          </>
        )}
      </Facts>
      {example && (
        <details className={classes.example}>
          <summary>
            {example.source === 'sample'
              ? 'A row that it ran on, which its owner let go along'
              : 'A row that it ran on, of zeros and empty texts'}
          </summary>
          <Code code={JSON.stringify(example.inputs, null, 1)} language="json" what="the example" />
        </details>
      )}
    </Panel>
  );
}
