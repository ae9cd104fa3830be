import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { Loaded } from '@/components/Loaded';
import { PageHeader } from '@/components/PageHeader';
import { modelsQuery } from '@/lib/models';

import { FirstModel } from './list/FirstModel';
import { ModelList } from './list/ModelList';
import { UploadHint } from './list/UploadHint';

export function ModelsPage(): ReactElement {
  const models = useQuery(modelsQuery);
  const some = models.data !== undefined && models.data.length > 0;
  return (
    <>
      <PageHeader
        title="Models"
        description="What you uploaded, what of it answers, and how much it was asked in the last hour."
        actions={some && <UploadHint />}
      />
      <Loaded query={models} isEmpty={(found) => found.length === 0} empty={<FirstModel />}>
        {(found) => <ModelList models={found} />}
      </Loaded>
    </>
  );
}
