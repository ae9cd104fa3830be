import type { MouseEvent } from 'react';

import type { Json } from '@/lib/json';

import type { Field } from './forms';

/** What every editor of an input is given. It begins with `value`, and tells what is typed from then on. */
export interface EditorProps {
  field: Field;
  value: Json;
  onValue: (value: Json) => void;
  onProblem: (problem: string) => void;
}

/** Before a file is chosen: the same one, changed meanwhile, would not be told of as another choice. */
export function forgetChoice({ currentTarget }: MouseEvent<HTMLInputElement>): void {
  currentTarget.value = '';
}
