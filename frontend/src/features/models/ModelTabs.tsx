import { Link, type LinkProps, useRouterState } from '@tanstack/react-router';
import { type ReactElement, useEffect, useRef } from 'react';

import type { Model } from '@/lib/models';

import classes from './ModelLayout.module.css';

interface Tab {
  label: string;
  to: NonNullable<LinkProps['to']>;
  /** After the model's own path. */
  path: string;
}

const TABS: readonly Tab[] = [
  { label: 'Overview', to: '/models/$modelId', path: '' },
  { label: 'Traffic', to: '/models/$modelId/traffic', path: '/traffic' },
  { label: 'Playground', to: '/models/$modelId/playground', path: '/playground' },
  { label: 'Code', to: '/models/$modelId/code', path: '/code' },
  { label: 'Metrics', to: '/models/$modelId/metrics', path: '/metrics' },
  { label: 'Placement', to: '/models/$modelId/placement', path: '/placement' },
  { label: 'Settings', to: '/models/$modelId/settings', path: '/settings' },
];

/** The pages of a model, as links. A version's page belongs to the overview. */
export function ModelTabs({ model }: { model: Model }): ReactElement {
  const path = useRouterState({ select: ({ location }) => location.pathname.replace(/\/$/, '') });
  const below = path.slice(`/models/${model.id}`.length);
  const current = TABS.find((tab) => tab.path === below);
  const title = `${current?.label ?? 'Version'} · ${model.name} · ModelRocket`;
  useEffect(() => {
    document.title = title;
  }, [title]);
  const nav = useRef<HTMLElement>(null);
  useEffect(() => {
    const shown = nav.current?.querySelector<HTMLElement>('[data-active]');
    if (shown) nav.current?.scrollTo({ left: shown.offsetLeft - shown.offsetWidth }); // where not all have room
  }, [current]);
  return (
    <nav ref={nav} aria-label={`Pages of ${model.name}`} className={classes.tabs}>
      <ul>
        {TABS.map((tab) => (
          <li key={tab.path}>
            <TabLink tab={tab} modelId={model.id} current={currentness(tab, current)} />
          </li>
        ))}
      </ul>
    </nav>
  );
}

/** `page`: it is shown; `true`: a page below it is. */
function currentness(tab: Tab, current: Tab | undefined): 'page' | 'true' | undefined {
  if (tab === current) return 'page';
  return current === undefined && tab.path === '' ? 'true' : undefined;
}

interface LinkOf {
  tab: Tab;
  modelId: string;
  current: 'page' | 'true' | undefined;
}

function TabLink({ tab, modelId, current }: LinkOf): ReactElement {
  return (
    <Link
      to={tab.to}
      params={{ modelId }}
      className={classes.tab}
      activeProps={{}}
      activeOptions={{ exact: true }}
      aria-current={current}
      {...(current ? { 'data-active': true } : {})}
    >
      {tab.label}
    </Link>
  );
}
