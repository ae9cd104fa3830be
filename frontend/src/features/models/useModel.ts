import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';

import { type Model, modelQuery } from '@/lib/models';

const route = getRouteApi('/inside/models/$modelId');

export function useModelId(): string {
  return route.useParams().modelId;
}

/** The model of this page. Only below `ModelLayout`, which shows nothing else until it is known. */
export function useModel(): Model {
  const { data } = useQuery(modelQuery(useModelId()));
  if (!data) throw new Error('This page needs a model.');
  return data;
}
