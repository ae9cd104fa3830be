import { Alert, Button, Stack, Text, VisuallyHidden } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useMemo, useState } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';
import { Panel } from '@/components/Panel';
import { Snippets } from '@/components/Snippets';
import type { Callable } from '@/lib/examples';
import { formatBytes } from '@/lib/format';
import type { JsonObject } from '@/lib/json';
import { limitsQuery } from '@/lib/limits';
import type { Model } from '@/lib/models';
import { requestText } from '@/lib/snippets/samples';

import { AnswerPanel } from './AnswerPanel';
import { fieldsOf } from './forms';
import { History } from './History';
import type { Waiting } from './inferring';
import { InputsPanel } from './InputsPanel';
import { type Form, useForm } from './useForm';
import { type Run, type Runs, useRuns } from './useRuns';
import classes from './Workbench.module.css';

interface Props {
  model: Model;
  callable: Callable;
  /** The version that is asked, whichever has the traffic; null for the one whose turn it is. */
  version: number | null;
}

/** The playground of one version. */
export function Workbench({ model, callable, version }: Props): ReactElement {
  const fields = useMemo(() => fieldsOf(callable), [callable]);
  const [form, change] = useForm(fields, callable.inputs);
  const runs = useRuns(model.id);
  const [chosen, setChosen] = useState<number | null>(null);
  const limits = useQuery(limitsQuery);
  const bytes = useMemo(
    () => new Blob([requestText({ modelId: model.id, inputs: form.inputs })]).size,
    [model.id, form.inputs],
  );
  const shown = runs.runs.find(({ id }) => id === chosen) ?? runs.runs[0];
  const start = () => {
    setChosen(null);
    runs.start({ modelId: model.id, inputs: form.inputs, tensors: callable.signature.inputs, version });
  };
  const show = (run: Run) => {
    setChosen(run.id);
    change({ type: 'replaced', inputs: run.inputs });
  };
  return (
    <div className={classes.columns}>
      <InputsPanel
        fields={fields}
        form={form}
        change={change}
        example={callable.inputs}
        refused={refusedInputs(shown, form.inputs)}
        pending={runs.pending}
        obstacle={obstacleOf(form, bytes, limits.data?.body_bytes_max ?? null)}
        onRun={start}
      >
        {runs.pending && (
          <Button variant="default" onClick={runs.cancel}>
            Cancel
          </Button>
        )}
      </InputsPanel>
      <Results runs={runs} shown={shown} callable={callable} />
      {shown && (
        <Stack className={classes.wide ?? ''}>
          <SameCall model={model} callable={callable} inputs={shown.inputs} />
          <History runs={runs.runs} shown={shown.id} onShow={show} />
        </Stack>
      )}
    </div>
  );
}

interface ResultsProps {
  runs: Runs;
  shown: Run | undefined;
  callable: Callable;
}

function Results({ runs, shown, callable }: ResultsProps): ReactElement {
  return (
    <Stack>
      <VisuallyHidden role="status">{shown && spoken(shown)}</VisuallyHidden>
      {runs.waiting && <Notice waiting={runs.waiting} />}
      {runs.error && <ErrorPanel error={runs.error} title="Nothing was asked" />}
      {shown ? <Outcome run={shown} callable={callable} /> : <Untried />}
    </Stack>
  );
}

function Outcome({ run, callable }: { run: Run; callable: Callable }): ReactElement {
  if (run.outcome.kind === 'refused') {
    return <ErrorPanel error={run.outcome.error} title="The model did not answer" />;
  }
  return <AnswerPanel key={run.id} answer={run.outcome} outputs={callable.signature.outputs} />;
}

/** For who does not see the answer come. */
function spoken({ id, outcome }: Run): string {
  return `Run ${id}: ${outcome.kind === 'answered' ? 'answered' : 'refused'}.`;
}

function Untried(): ReactElement {
  return (
    <Panel title="Answer">
      <Text c="dimmed">
        Run the model, and its answer is shown here: as a table, or as bars where it gives probabilities. The
        form begins with inputs of the right shape.
      </Text>
    </Panel>
  );
}

function Notice({ waiting }: { waiting: Waiting }): ReactElement {
  return (
    <Alert color="blue" variant="light" title="Not yet" role="status">
      {waiting.why} It is asked again by itself in {waiting.seconds} s.
    </Alert>
  );
}

const TURNS = 'A caller gets the version whose turn it is.';

interface SameCallProps {
  model: Model;
  callable: Callable;
  inputs: JsonObject;
}

function SameCall({ model, callable, inputs }: SameCallProps): ReactElement {
  const code = useMemo(() => callOf(model, callable, inputs), [model, callable, inputs]);
  return (
    <Panel
      title="The same call as code"
      description={`With exactly these inputs. Tokens are made under Code.${model.candidate ? ` ${TURNS}` : ''}`}
    >
      <Snippets call={code} />
    </Panel>
  );
}

function callOf({ id, url }: Model, { signature }: Callable, inputs: JsonObject) {
  return { modelId: id, url, inputs, outputs: signature.outputs.map(({ name }) => name) };
}

/** What was refused of these very inputs. */
function refusedInputs(run: Run | undefined, inputs: JsonObject): ReadonlyMap<string, string> {
  if (run?.outcome.kind !== 'refused' || run.inputs !== inputs || run.outcome.input === null)
    return new Map();
  return new Map([[run.outcome.input, run.outcome.error.message]]);
}

function obstacleOf(form: Form, bytes: number, bytesMax: number | null): string | null {
  if (form.asJson && form.jsonProblem !== null) return 'Mend the JSON, then run.';
  if (!form.asJson && form.problems.size > 0) return 'Some of what is filled in cannot be read yet.';
  if (bytesMax === null || bytes <= bytesMax) return null;
  return `This request has ${formatBytes(bytes)}, and ${formatBytes(bytesMax)} are allowed. Send fewer rows, or use the Python client, which sends large inputs by way of the store.`;
}
