import { SegmentedControl } from '@mantine/core';
import type { ReactElement } from 'react';

import { type Range, RANGES } from './ranges';

export function RangePicker({
  range,
  onChange,
}: {
  range: Range;
  onChange: (range: Range) => void;
}): ReactElement {
  return (
    <SegmentedControl
      aria-label="Since when"
      data={RANGES.map(({ id, label }) => ({ value: id, label }))}
      value={range.id}
      onChange={(id) => onChange(RANGES.find((one) => one.id === id) ?? range)}
    />
  );
}
