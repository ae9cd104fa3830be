import { useCallback, useEffect, useRef, useState } from 'react';

import type { JsonObject } from '@/lib/json';

import { infer, type Outcome, type Question, type Waiting } from './inferring';
import { useModelToken } from './token';

/** A request and what came of it. Kept for as long as the page is open. */
export interface Run {
  id: number;
  at: string;
  inputs: JsonObject;
  outcome: Outcome;
}

export interface Runs {
  /** The latest first. */
  runs: readonly Run[];
  pending: boolean;
  waiting: Waiting | null;
  /** It could not even be sent. */
  error: Error | null;
  start: (question: Question) => void;
  cancel: () => void;
}

const KEPT = 10;

export function useRuns(modelId: string): Runs {
  const token = useModelToken(modelId);
  const [runs, setRuns] = useState<readonly Run[]>([]);
  const [pending, setPending] = useState(false);
  const [waiting, setWaiting] = useState<Waiting | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const underWay = useRef<AbortController | null>(null);
  const { get, drop } = token;

  const cancel = useCallback(() => underWay.current?.abort(), []);
  useEffect(() => cancel, [cancel]);

  const start = useCallback(
    (question: Question) => {
      const own = new AbortController();
      underWay.current?.abort();
      underWay.current = own;
      setPending(true);
      setError(null);
      infer({ question, token: { get, drop }, signal: own.signal, onWait: setWaiting })
        .then((outcome) => {
          setRuns((before) => [
            { id: (before[0]?.id ?? 0) + 1, at: new Date().toISOString(), inputs: question.inputs, outcome },
            ...before.slice(0, KEPT - 1),
          ]);
        })
        .catch((failed: unknown) => {
          if (!own.signal.aborted) setError(failed instanceof Error ? failed : new Error(String(failed)));
        })
        .finally(() => {
          if (underWay.current !== own) return;
          setPending(false);
          setWaiting(null);
        });
    },
    [get, drop],
  );
  return { runs, pending, waiting, error, start, cancel };
}
