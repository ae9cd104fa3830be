/**
 * The receipt of a version, as its uploader's client wrote it. The platform stores whatever came, so nothing of it
 * is taken for granted: what has another shape reads as null and is shown as it is.
 */

export interface OutputAgreement {
  name: string;
  dtype: string;
  rows: number;
  absolute: number;
  /** Relative to the output's largest value. */
  relative: number;
  labelFlips: number;
  ties: number;
}

export interface KindOfRows {
  kind: string;
  /** A difference here would have refused the model; else it is only recorded. */
  judged: boolean;
  rows: number;
  outcome: string;
  /** What is to be said of the outcome; empty where nothing is. */
  why: string;
}

export interface Difference {
  output: string;
  kind: string;
  differing: number;
  rows: number;
  what: string;
  inputs: string;
}

export interface Compared {
  rows: number;
  tolerance: { relative: number; absolute: number };
  outputs: OutputAgreement[];
  outputsLeftOut: number;
  kinds: KindOfRows[];
  sample: { rows: number; sha256: string } | null;
  /** What its owner let pass. */
  differences: Difference[];
  differencesLeftOut: number;
}

export interface QuantisedForm {
  bytes: number;
  /** Median by number of rows. */
  runMs: Record<string, number>;
  outputs: { name: string; agreement: number; relative: number }[];
}

export interface Quantisation {
  method: string;
  comparedWith: string;
  rowsFrom: string;
  acceptedLoss: string[];
  float: QuantisedForm;
  int8: QuantisedForm;
}

export interface Receipt {
  /** Null where there was no original; `reason` says why. */
  compared: Compared | null;
  reason: string;
  quantisation: Quantisation | null;
  notes: string[];
  versions: Record<string, string>;
  platform: string;
}

/** Null when it is none, or of another shape. */
export function readReceipt(told: unknown): Receipt | null {
  try {
    return receipt(record(told));
  } catch (error) {
    if (error instanceof AnotherShape) return null;
    throw error;
  }
}

/** The largest difference of any number, relative to its output's largest value. */
export function largestDifference({ outputs }: Compared): number {
  return Math.max(0, ...outputs.map((output) => output.relative));
}

class AnotherShape extends Error {}

type Told = Record<string, unknown>;

function receipt(told: Told): Receipt {
  return {
    compared: told.compared === true ? compared(told) : null,
    reason: optional(told.reason, text) ?? '',
    quantisation: optional(told.quantisation, quantisation),
    notes: list(told.notes ?? [], text),
    versions: named(told.versions ?? {}, text),
    platform: optional(told.platform, text) ?? '',
  };
}

function compared(told: Told): Compared {
  const tolerance = record(told.tolerance);
  const mismatch = optional(told.mismatch, record);
  return {
    rows: number(told.rows),
    tolerance: { relative: number(tolerance.relative), absolute: number(tolerance.absolute) },
    outputs: list(told.outputs, output),
    outputsLeftOut: number(told.outputs_left_out ?? 0),
    kinds: list(told.kinds, kind),
    sample: optional(told.sample, sample),
    differences: mismatch ? list(mismatch.differences, difference) : [],
    differencesLeftOut: number(mismatch?.differences_left_out ?? 0),
  };
}

function sample(value: unknown): { rows: number; sha256: string } {
  const told = record(value);
  return { rows: number(told.rows), sha256: text(told.sha256) };
}

function output(value: unknown): OutputAgreement {
  const told = record(value);
  return {
    name: text(told.name),
    dtype: text(told.dtype),
    rows: number(told.rows),
    absolute: error(told.abs_error_max),
    relative: error(told.rel_error_max),
    labelFlips: number(told.label_flips),
    ties: number(told.ties),
  };
}

function kind(value: unknown): KindOfRows {
  const told = record(value);
  const refused = number(told.rows_refused);
  const why = refused > 0 ? `${refused} rows: ${text(told.refusal)}` : text(told.evidence);
  return {
    kind: text(told.kind),
    judged: told.judged === true,
    rows: number(told.rows),
    outcome: text(told.outcome),
    why,
  };
}

function difference(value: unknown): Difference {
  const told = record(value);
  return {
    output: text(told.output),
    kind: text(told.kind),
    differing: number(told.rows_differing),
    rows: number(told.rows),
    what: text(told.what),
    inputs: text(told.inputs),
  };
}

function quantisation(value: unknown): Quantisation {
  const told = record(value);
  return {
    method: text(told.method),
    comparedWith: text(told.compared_with),
    rowsFrom: text(told.rows_from),
    acceptedLoss: list(told.accepted_loss, text),
    float: form(told.float),
    int8: form(told.int8),
  };
}

function form(value: unknown): QuantisedForm {
  const told = record(value);
  return {
    bytes: number(told.bytes),
    runMs: named(told.run_ms, number),
    outputs: list(told.outputs, (one) => {
      const loss = record(one);
      return {
        name: text(loss.name),
        agreement: number(loss.agreement),
        relative: error(loss.rel_error_max),
      };
    }),
  };
}

function record(value: unknown): Told {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new AnotherShape();
  return value as Told;
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new AnotherShape();
  return value;
}

function number(value: unknown): number {
  if (typeof value !== 'number') throw new AnotherShape();
  return value;
}

/** JSON knows no infinity: it comes as null. */
function error(value: unknown): number {
  return value === null ? Infinity : number(value);
}

function list<T>(value: unknown, read: (one: unknown) => T): T[] {
  if (!Array.isArray(value)) throw new AnotherShape();
  return value.map(read);
}

function named<T>(value: unknown, read: (one: unknown) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(record(value)).map(([name, one]) => [name, read(one)]));
}

function optional<T>(value: unknown, read: (one: unknown) => T): T | null {
  return value === null || value === undefined ? null : read(value);
}
