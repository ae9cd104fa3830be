import type { Schema } from '@/lib/api/client';

export interface Operator {
  name: string;
  /** Empty for ONNX's own. */
  domain: string;
  count: number;
}

const OWN = 'ai.onnx';

/** What a model is made of, the most used first. */
export function operators({ operators: byDomain }: Schema['Findings']): Operator[] {
  return Object.entries(byDomain)
    .flatMap(([domain, counts]) =>
      Object.entries(counts).map(([name, count]) => ({ name, count, domain: domain === OWN ? '' : domain })),
    )
    .sort((one, other) => other.count - one.count || one.name.localeCompare(other.name));
}
