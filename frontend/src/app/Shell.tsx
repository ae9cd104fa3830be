import { Burger, Drawer, Menu, NavLink, Text, UnstyledButton } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, type LinkProps, Outlet, useRouter, useRouterState } from '@tanstack/react-router';
import { type ReactElement, useEffect } from 'react';

import { Logo } from '@/components/Logo';
import { SchemeToggle } from '@/components/SchemeToggle';
import { api, call } from '@/lib/api/client';
import { forgetAccount, mayOperate, sessionQuery, useAccount } from '@/lib/session';

import { PagePending } from './boundaries';
import classes from './Shell.module.css';

interface Entry {
  label: string;
  to: NonNullable<LinkProps['to']>;
}

const ENTRIES: readonly Entry[] = [
  { label: 'Models', to: '/models' },
  { label: 'API keys', to: '/keys' },
  { label: 'Metrics', to: '/metrics' },
  { label: 'Usage and cost', to: '/usage' },
  { label: 'Audit log', to: '/audit' },
];
const OPERATOR_ENTRIES: readonly Entry[] = [
  { label: 'Fleet', to: '/fleet' },
  { label: 'Accounts', to: '/accounts' },
  { label: 'Platform log', to: '/platform/audit' },
];

/** Every page behind the log-in. Where the session ends, the router leads to the log-in. */
export function Shell(): ReactElement {
  const { data: account } = useQuery(sessionQuery);
  const router = useRouter();
  const ended = !account;
  useEffect(() => {
    if (ended) void router.invalidate();
  }, [ended, router]);
  return ended ? <PagePending /> : <Frame />;
}

/** What surrounds a page: navigation at the side, or behind a button on a phone. */
function Frame(): ReactElement {
  const [opened, { toggle, close }] = useDisclosure(false);
  const path = useRouterState({ select: (state) => state.location.pathname });
  useEffect(close, [path, close]);
  return (
    <div className={classes.shell}>
      <a className={classes.skip} href="#main">
        To the content
      </a>
      <header className={classes.bar}>
        <Burger
          className={classes.burger ?? ''}
          opened={opened}
          onClick={toggle}
          size="sm"
          aria-label={opened ? 'Close the navigation' : 'Open the navigation'}
        />
        <Link to="/models" className={classes.home}>
          <Logo />
        </Link>
        <div className={classes.right}>
          <SchemeToggle />
          <AccountMenu />
        </div>
      </header>
      <div className={classes.sidebar}>
        <Navigation path={path} />
      </div>
      <Drawer opened={opened} onClose={close} size="16rem" title="Navigation">
        <Navigation path={path} />
      </Drawer>
      <main id="main" tabIndex={-1} className={classes.main}>
        <Outlet />
      </main>
    </div>
  );
}

function Navigation({ path }: { path: string }): ReactElement {
  const account = useAccount();
  return (
    <nav aria-label="Pages">
      <Entries entries={ENTRIES} path={path} />
      {mayOperate(account) && (
        <>
          <Text size="xs" fw={600} c="dimmed" px="sm" pt="md" pb={4}>
            Operators
          </Text>
          <Entries entries={OPERATOR_ENTRIES} path={path} />
        </>
      )}
    </nav>
  );
}

function Entries({ entries, path }: { entries: readonly Entry[]; path: string }): ReactElement[] {
  return entries.map(({ label, to }) => {
    const active = path === to || path.startsWith(`${to}/`);
    return (
      <NavLink
        key={to}
        label={label}
        active={active}
        className={classes.entry ?? ''}
        renderRoot={(props) => <Link to={to} {...props} aria-current={active ? 'page' : undefined} />}
      />
    );
  });
}

function AccountMenu(): ReactElement {
  const account = useAccount();
  const router = useRouter();
  const queryClient = useQueryClient();
  const logOut = useMutation({
    mutationFn: async () => {
      await router.navigate({ to: '/' }); // what a page takes back as it is left needs the session
      return call(api.DELETE('/v1/sessions/current'));
    },
    onSuccess: () => {
      queryClient.setQueryData(sessionQuery.queryKey, null);
      forgetAccount(queryClient);
    },
    onError: ({ message }) =>
      notifications.show({ color: 'red', title: 'You are still logged in', message, autoClose: false }),
  });
  return (
    <Menu position="bottom-end" width={220}>
      <Menu.Target>
        <UnstyledButton className={classes.account ?? ''} aria-label="Your account">
          {(account.name || account.email).slice(0, 1).toUpperCase()}
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{account.email || account.name}</Menu.Label>
        <Menu.Item renderRoot={(props) => <Link to="/account" {...props} />}>Account and sessions</Menu.Item>
        <Menu.Item onClick={() => logOut.mutate()} disabled={logOut.isPending}>
          Log out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
