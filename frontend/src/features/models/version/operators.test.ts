import { expect, it } from 'vitest';

import type { Schema } from '@/lib/api/client';

import { operators } from './operators';

it('names the most used first, and the domain of those that are not ONNX’s own', () => {
  const found = { operators: { 'ai.onnx': { Add: 2, Relu: 1 }, 'ai.onnx.ml': { Scaler: 2 } } };
  expect(operators(found as unknown as Schema['Findings'])).toEqual([
    { name: 'Add', domain: '', count: 2 },
    { name: 'Scaler', domain: 'ai.onnx.ml', count: 2 },
    { name: 'Relu', domain: '', count: 1 },
  ]);
});
