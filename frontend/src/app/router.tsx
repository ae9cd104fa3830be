import type { QueryClient } from '@tanstack/react-query';
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from '@tanstack/react-router';

import { mayOperate, sessionQuery } from '@/lib/session';

import { NotFoundPage, PageError, PagePending } from './boundaries';

interface RouterContext {
  queryClient: QueryClient;
}

const root = createRootRouteWithContext<RouterContext>()({
  component: Outlet,
  notFoundComponent: NotFoundPage,
});

// For everybody.

const landing = createRoute({
  getParentRoute: () => root,
  path: '/',
  component: lazyRouteComponent(() => import('@/features/demo/LandingPage'), 'LandingPage'),
});

/** Where to go once logged in: a path of this site, nothing else. Browsers overlook tabs and line breaks. */
function nextPath({ next }: Record<string, unknown>): { next?: string | undefined } {
  const good = typeof next === 'string' && /^\/(?![/\\])\P{Cc}*$/u.test(next);
  return { next: good ? next : undefined }; // what is left out here would stay as it came
}

const logIn = createRoute({
  getParentRoute: () => root,
  path: '/login',
  validateSearch: nextPath,
  component: lazyRouteComponent(() => import('@/features/account/LogInPage'), 'LogInPage'),
});

const signUp = createRoute({
  getParentRoute: () => root,
  path: '/signup',
  validateSearch: nextPath,
  component: lazyRouteComponent(() => import('@/features/account/SignUpPage'), 'SignUpPage'),
});

// For who is logged in.

const inside = createRoute({
  getParentRoute: () => root,
  id: 'inside',
  component: lazyRouteComponent(() => import('./Shell'), 'Shell'),
  beforeLoad: async ({ context, location }) => {
    const account = await context.queryClient.query({ ...sessionQuery, staleTime: 'static' });
    if (!account) throw redirect({ to: '/login', search: { next: location.href } });
    if (account.password_expired && location.pathname !== '/account') throw redirect({ to: '/account' });
    return { account };
  },
});

const models = createRoute({
  getParentRoute: () => inside,
  path: '/models',
  component: lazyRouteComponent(() => import('@/features/models/ModelsPage'), 'ModelsPage'),
});

const model = createRoute({
  getParentRoute: () => inside,
  path: '/models/$modelId',
  component: lazyRouteComponent(() => import('@/features/models/ModelLayout'), 'ModelLayout'),
});

const modelOverview = createRoute({
  getParentRoute: () => model,
  path: '/',
  component: lazyRouteComponent(() => import('@/features/models/OverviewPage'), 'OverviewPage'),
});

const modelVersion = createRoute({
  getParentRoute: () => model,
  path: '/versions/$number',
  params: {
    parse: ({ number }) => ({ number: Number(number) }),
    stringify: ({ number }) => ({ number: String(number) }),
  },
  component: lazyRouteComponent(() => import('@/features/models/VersionPage'), 'VersionPage'),
});

const modelTraffic = createRoute({
  getParentRoute: () => model,
  path: '/traffic',
  component: lazyRouteComponent(() => import('@/features/models/TrafficPage'), 'TrafficPage'),
});

const modelPlayground = createRoute({
  getParentRoute: () => model,
  path: '/playground',
  component: lazyRouteComponent(() => import('@/features/playground/PlaygroundPage'), 'PlaygroundPage'),
});

const modelCode = createRoute({
  getParentRoute: () => model,
  path: '/code',
  component: lazyRouteComponent(() => import('@/features/samples/SamplesPage'), 'SamplesPage'),
});

const modelMetrics = createRoute({
  getParentRoute: () => model,
  path: '/metrics',
  component: lazyRouteComponent(() => import('@/features/metrics/ModelMetricsPage'), 'ModelMetricsPage'),
});

const modelPlacement = createRoute({
  getParentRoute: () => model,
  path: '/placement',
  component: lazyRouteComponent(() => import('@/features/models/PlacementPage'), 'PlacementPage'),
});

const modelSettings = createRoute({
  getParentRoute: () => model,
  path: '/settings',
  component: lazyRouteComponent(() => import('@/features/models/SettingsPage'), 'SettingsPage'),
});

const keys = createRoute({
  getParentRoute: () => inside,
  path: '/keys',
  component: lazyRouteComponent(() => import('@/features/keys/KeysPage'), 'KeysPage'),
});

const metrics = createRoute({
  getParentRoute: () => inside,
  path: '/metrics',
  component: lazyRouteComponent(() => import('@/features/metrics/MetricsPage'), 'MetricsPage'),
});

const usage = createRoute({
  getParentRoute: () => inside,
  path: '/usage',
  component: lazyRouteComponent(() => import('@/features/metrics/UsagePage'), 'UsagePage'),
});

const audit = createRoute({
  getParentRoute: () => inside,
  path: '/audit',
  component: lazyRouteComponent(() => import('@/features/audit/AuditPage'), 'AuditPage'),
});

const account = createRoute({
  getParentRoute: () => inside,
  path: '/account',
  component: lazyRouteComponent(() => import('@/features/account/AccountPage'), 'AccountPage'),
});

// For operators. The API refuses everybody else; this only spares them the sight.

const operators = createRoute({
  getParentRoute: () => inside,
  id: 'operators',
  component: Outlet,
  beforeLoad: ({ context }) => {
    if (!mayOperate(context.account)) throw redirect({ to: '/models' });
  },
});

const fleet = createRoute({
  getParentRoute: () => operators,
  path: '/fleet',
  component: lazyRouteComponent(() => import('@/features/fleet/FleetPage'), 'FleetPage'),
});

const accounts = createRoute({
  getParentRoute: () => operators,
  path: '/accounts',
  component: lazyRouteComponent(() => import('@/features/account/AccountsPage'), 'AccountsPage'),
});

const platformAudit = createRoute({
  getParentRoute: () => operators,
  path: '/platform/audit',
  component: lazyRouteComponent(() => import('@/features/audit/PlatformAuditPage'), 'PlatformAuditPage'),
});

const routeTree = root.addChildren([
  landing,
  logIn,
  signUp,
  inside.addChildren([
    models,
    model.addChildren([
      modelOverview,
      modelVersion,
      modelTraffic,
      modelPlayground,
      modelCode,
      modelMetrics,
      modelPlacement,
      modelSettings,
    ]),
    keys,
    metrics,
    usage,
    audit,
    account,
    operators.addChildren([fleet, accounts, platformAudit]),
  ]),
]);

export function createAppRouter(queryClient: QueryClient) {
  return createRouter({
    routeTree,
    context: { queryClient },
    defaultPreload: 'intent',
    defaultPendingComponent: PagePending,
    defaultErrorComponent: PageError,
    // A page of another model begins anew: what was typed, or made, for one is nothing to the next.
    defaultRemountDeps: ({ params }) => params,
    scrollRestoration: true,
  });
}

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof createAppRouter>;
  }
}
