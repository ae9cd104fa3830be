import { Button, Checkbox, FileButton, Group, Select, Stack, Text } from '@mantine/core';
import { type DragEvent, type ReactElement, type ReactNode, useEffect, useRef, useState } from 'react';

import { isList, type Json } from '@/lib/json';

import { DrawingPad } from './DrawingPad';
import { type EditorProps, forgetChoice } from './editing';
import classes from './editors.module.css';
import {
  guessedScale,
  inverted,
  type Layout,
  type Pixels,
  resized,
  type Scale,
  toPixels,
  toRow,
} from './images';
import { paint, pixelsOf } from './pictures';

const SCALES: readonly { value: Scale; label: string }[] = [
  { value: 'unit', label: '0 to 1' },
  { value: 'signed', label: '−1 to 1' },
  { value: 'sixteen', label: '0 to 16' },
  { value: 'byte', label: '0 to 255' },
  { value: 'imagenet', label: 'ImageNet: mean and deviation of each colour' },
];
/** A larger picture is not drawn by hand. */
const DRAWN_PIXELS_MAX = 128 * 128;
/** Ink is so wide, and on small pictures so many of their pixels. */
const INK_SHARE = 0.09;
const INK_PIXELS = 1.5;

const BLACK: Pixels = { width: 1, height: 1, data: Uint8ClampedArray.of(0, 0, 0, 255) };

interface Settings {
  layout: number;
  scale: Scale;
  invert: boolean;
}

/** A picture: dropped, chosen or drawn, and made into the numbers that the model takes. */
export function ImageEditor({ field, value, onValue, onProblem }: EditorProps): ReactElement | null {
  const { tensor, layouts } = field;
  const [first] = layouts;
  const [settings, setSettings] = useState<Settings>(() => ({
    layout: 0,
    scale: first ? guessedScale(value, first, tensor.dtype) : 'unit',
    invert: false,
  }));
  const [source, setSource] = useState<Pixels | null>(null);
  const [drawings, setDrawings] = useState(0);
  const layout = layouts[settings.layout] ?? first;
  if (!layout) return null;

  const show = (pixels: Pixels | null, chosen: Settings) => {
    setSource(pixels);
    setSettings(chosen);
    const read = layouts[chosen.layout] ?? layout;
    if (pixels) onValue([rowOf(pixels, read, chosen, tensor.dtype)]);
  };
  const open = (file: Blob) => {
    pixelsOf(file, layout.width / layout.height, layout.channels === 4)
      .then((pixels) => show(pixels, settings))
      .catch((error: unknown) => onProblem(error instanceof Error ? error.message : 'This is no picture.'));
  };
  const drawable = layout.channels === 1 && layout.width * layout.height <= DRAWN_PIXELS_MAX;
  return (
    <div className={classes.image}>
      <DropZone onFile={open}>
        {drawable && (
          <DrawingPad
            key={drawings}
            aspect={layout.width / layout.height}
            ink={Math.max(INK_SHARE, INK_PIXELS / layout.width)}
            onDrawn={(pixels) => show(pixels, settings)}
          />
        )}
        <Text size="sm" c="dimmed">
          {drawable ? 'Draw here, or drop a picture.' : 'Drop a picture here.'}
        </Text>
        <Group gap="xs">
          <FileButton
            onChange={(file) => file && open(file)}
            accept="image/*"
            inputProps={{ 'aria-label': 'A picture', onClick: forgetChoice }}
          >
            {(props) => (
              <Button {...props} size="compact-sm" variant="default">
                Choose a picture
              </Button>
            )}
          </FileButton>
          {drawable && (
            <Button
              size="compact-sm"
              variant="default"
              onClick={() => {
                setDrawings(drawings + 1);
                show(BLACK, settings);
              }}
            >
              Clear the drawing
            </Button>
          )}
        </Group>
      </DropZone>
      <Stack gap="sm">
        <Preview row={isList(value) ? (value[0] ?? null) : null} layout={layout} scale={settings.scale} />
        <Controls layouts={layouts} settings={settings} onSettings={(chosen) => show(source, chosen)} />
      </Stack>
    </div>
  );
}

function rowOf(pixels: Pixels, layout: Layout, { scale, invert }: Settings, dtype: string): Json {
  const fitted = resized(pixels, layout.width, layout.height);
  return toRow(invert ? inverted(fitted) : fitted, layout, scale, dtype);
}

function DropZone({ onFile, children }: { onFile: (file: Blob) => void; children: ReactNode }): ReactElement {
  const [over, setOver] = useState(false);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    const [file] = event.dataTransfer.files;
    if (file) onFile(file);
  };
  return (
    <div
      className={classes.drop}
      data-over={over}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={drop}
    >
      {children}
    </div>
  );
}

/** What the model sees, enlarged. */
function Preview({ row, layout, scale }: { row: Json; layout: Layout; scale: Scale }): ReactElement {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (canvas.current) paint(canvas.current, toPixels(row, layout, scale));
  }, [row, layout, scale]);
  return (
    <figure className={classes.preview}>
      <canvas ref={canvas} role="img" aria-label="The picture as the model sees it" />
      <figcaption>
        What the model sees: {layout.width} × {layout.height}, {colours(layout)}
      </figcaption>
    </figure>
  );
}

interface ControlsProps {
  layouts: readonly Layout[];
  settings: Settings;
  onSettings: (settings: Settings) => void;
}

function Controls({ layouts, settings, onSettings }: ControlsProps): ReactElement {
  return (
    <>
      <Select
        label="Black and white as numbers"
        data={SCALES}
        value={settings.scale}
        onChange={(scale) => onSettings({ ...settings, scale: scale ?? settings.scale })}
        allowDeselect={false}
      />
      {layouts.length > 1 && (
        <Select
          label="Layout"
          data={layouts.map((one, index) => ({ value: String(index), label: described(one) }))}
          value={String(settings.layout)}
          onChange={(index) => onSettings({ ...settings, layout: Number(index) })}
          allowDeselect={false}
        />
      )}
      <Checkbox
        label="Invert, for dark ink on paper"
        checked={settings.invert}
        onChange={(event) => onSettings({ ...settings, invert: event.currentTarget.checked })}
      />
    </>
  );
}

function described({ order, channels, height, width }: Layout): string {
  return order === 'hwc'
    ? `${height} × ${width}, ${channels} channels last`
    : `${channels} channels first, ${height} × ${width}`;
}

function colours({ channels }: Layout): string {
  if (channels === 1) return 'shades of grey';
  return channels === 3 ? 'red, green, blue' : 'red, green, blue, alpha';
}
