import { Text, VisuallyHidden } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { Link } from '@tanstack/react-router';
import type { CSSProperties, ReactElement, ReactNode } from 'react';

import { formatBytes } from '@/lib/format';
import { useAccount } from '@/lib/session';

import classes from './fleet.module.css';
import { type Block, hue, inWords, picture, stateInWords } from './holdings';
import type { HostedVersion } from './queries';
import type { Rectangle } from './treemap';

/** Until it is known how large the picture is. */
const SIZE = { width: 16, height: 11 };

type Size = typeof SIZE;

interface Props {
  versions: readonly HostedVersion[];
  /** How many the host is to hold in all. */
  total: number;
  pointedAt: string | null;
  onPoint: (modelId: string | null) => void;
}

/** What a host holds, drawn: a list of blocks, each of which says what it is. */
export function ModelBlocks({ versions, total, pointedAt, onPoint }: Props): ReactElement {
  const { ref, ...measured } = useElementSize<HTMLUListElement>();
  const size = measured.width > 0 ? measured : SIZE;
  const { blocks, rest } = picture(versions, total, size);
  if (blocks.length === 0) {
    return (
      <div className={classes.blocks} data-empty="true">
        <Text size="sm" c="dimmed">
          No models
        </Text>
      </div>
    );
  }
  return (
    <ul ref={ref} className={classes.blocks} aria-label="Versions" onMouseLeave={() => onPoint(null)}>
      {blocks.map((block) => (
        <BlockItem
          key={`${block.version.model_id}/${block.version.number}`}
          block={block}
          size={size}
          dimmed={pointedAt !== null && pointedAt !== block.version.model_id}
          onPoint={onPoint}
        />
      ))}
      {rest && (
        <li className={classes.rest} style={position(rest.place, size)}>
          {rest.count} more
        </li>
      )}
    </ul>
  );
}

function BlockItem({
  block: { version, place },
  size,
  dimmed,
  onPoint,
}: {
  block: Block;
  size: Size;
  dimmed: boolean;
  onPoint: (modelId: string | null) => void;
}): ReactElement {
  return (
    <li
      className={classes.block}
      style={{ ...position(place, size), '--hue': hue(version.model_id) } as CSSProperties}
      data-state={version.state ?? 'assigned'}
      data-dimmed={dimmed}
      title={inWords(version)}
      onMouseEnter={() => onPoint(version.model_id)}
    >
      <OwnLink version={version}>
        <span className={classes.name}>{version.name}</span>
        <span className={classes.detail}>
          v{version.number}
          {version.memory_bytes !== null && ` · ${formatBytes(version.memory_bytes)}`}
        </span>
        {version.state === 'ready' ? (
          <VisuallyHidden>{stateInWords(version.state)}</VisuallyHidden>
        ) : (
          <span className={classes.detail}>{stateInWords(version.state)}</span>
        )}
      </OwnLink>
    </li>
  );
}

/** To the model's page, where it is one's own: others' have none here. */
function OwnLink({ version, children }: { version: HostedVersion; children: ReactNode }): ReactElement {
  const account = useAccount();
  if (version.account_id !== account.id) return <div className={classes.face}>{children}</div>;
  return (
    <Link className={classes.face} to="/models/$modelId" params={{ modelId: version.model_id }}>
      {children}
    </Link>
  );
}

function position({ left, top, width, height }: Rectangle, size: Size): CSSProperties {
  const percent = (part: number, whole: number) => `${(part / whole) * 100}%`;
  return {
    left: percent(left, size.width),
    top: percent(top, size.height),
    width: percent(width, size.width),
    height: percent(height, size.height),
  };
}
