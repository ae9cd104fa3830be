import { Anchor, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, Outlet } from '@tanstack/react-router';
import type { ReactElement, ReactNode } from 'react';

import { Copy } from '@/components/Copy';
import { Empty } from '@/components/Empty';
import { Loaded } from '@/components/Loaded';
import { PageHeader } from '@/components/PageHeader';
import { StateBadge } from '@/components/StateBadge';
import { ApiError } from '@/lib/api/client';
import { type Model, modelQuery } from '@/lib/models';

import { serving } from './list/serving';
import classes from './ModelLayout.module.css';
import { ModelTabs } from './ModelTabs';
import { useModelId } from './useModel';

/** Which model this is, and its pages. */
export function ModelLayout(): ReactElement {
  const query = useQuery(modelQuery(useModelId()));
  if (query.error instanceof ApiError && query.error.status === 404) return <Gone />;
  return (
    <Loaded query={query}>
      {(model) => (
        <>
          <Header model={model} />
          <ModelTabs model={model} />
          <Outlet />
        </>
      )}
    </Loaded>
  );
}

function Header({ model }: { model: Model }): ReactElement {
  const { state, note } = serving(model);
  return (
    <PageHeader
      title={model.name}
      above={<Above />}
      badge={
        <>
          <StateBadge state={state} />
          {note !== null && (
            <Text size="sm" c="dimmed">
              {note}
            </Text>
          )}
        </>
      }
      description={
        <span className={classes.id}>
          <code>{model.id}</code>
          <Copy text={model.id} what="the model’s id" />
        </span>
      }
    />
  );
}

function Above(): ReactNode {
  return (
    <Anchor component={Link} to="/models" size="sm">
      ← All models
    </Anchor>
  );
}

function Gone(): ReactElement {
  return (
    <>
      <PageHeader title="No such model" above={<Above />} />
      <Empty title="It is not among your models">
        It may have been deleted, or it is another account’s. Its name is free for a new upload if it was
        yours.
      </Empty>
    </>
  );
}
