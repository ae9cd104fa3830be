import { Select } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { modelsQuery } from '@/lib/models';

interface Props {
  modelId: string | null;
  onChange: (modelId: string | null) => void;
  error: string | undefined;
}

export function ModelField({ modelId, onChange, error }: Props): ReactElement {
  const models = useQuery(modelsQuery);
  const none = models.data?.length === 0;
  return (
    <Select
      label="Model"
      description="The one model it may run, all versions of it. It may do nothing else."
      placeholder={models.isPending ? 'Loading …' : 'Choose one'}
      data={(models.data ?? []).map(({ id, name }) => ({ value: id, label: name }))}
      value={modelId}
      onChange={onChange}
      error={error ?? models.error?.message ?? (none && 'There is no model yet: upload one first.')}
      searchable
      required
    />
  );
}
