import { Stack } from '@mantine/core';
import type { ReactElement } from 'react';

import { BlastRadiusPanel } from './placement/BlastRadiusPanel';
import { CopiesPanel } from './placement/CopiesPanel';
import { DecisionsPanel } from './placement/DecisionsPanel';
import { PinPanel } from './placement/PinPanel';
import { useModel } from './useModel';

/** Where a model is loaded, why there, and beside whom. */
export function PlacementPage(): ReactElement {
  const model = useModel();
  return (
    <Stack>
      <CopiesPanel model={model} />
      <PinPanel model={model} />
      <BlastRadiusPanel modelId={model.id} />
      <DecisionsPanel modelId={model.id} />
    </Stack>
  );
}
