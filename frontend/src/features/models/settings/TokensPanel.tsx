import { Anchor, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';

import { Loaded } from '@/components/Loaded';
import { Panel } from '@/components/Panel';
import type { Model } from '@/lib/models';

import { tokensQuery } from '../queries';
import { NewToken } from './NewToken';
import { working } from './tokens';
import { TokensTable } from './TokensTable';

/** Who may call this model and nothing else. */
export function TokensPanel({ model }: { model: Model }): ReactElement {
  const tokens = useQuery(tokensQuery(model.id));
  return (
    <Panel
      title="Tokens"
      description="A token runs this model and nothing else: give one to whoever calls it. All versions answer to the same tokens."
    >
      <Stack>
        <Loaded
          query={tokens}
          isEmpty={(all) => working(all).length === 0}
          empty={
            <Text size="sm" c="dimmed">
              No token works. Make one below; API keys with the scope to run models work as well.
            </Text>
          }
        >
          {(all) => <TokensTable modelId={model.id} tokens={working(all)} />}
        </Loaded>
        <NewToken modelId={model.id} />
        <Text size="sm" c="dimmed">
          Expiry, rates and rotation, and tokens that no longer work, are under{' '}
          <Anchor inherit renderRoot={(props) => <Link to="/keys" {...props} />}>
            API keys
          </Anchor>
          .
        </Text>
      </Stack>
    </Panel>
  );
}
