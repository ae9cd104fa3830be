import type { Pixels } from './images';

/** Between files, canvases and pixels. What needs a browser; what does not is in images.ts. */

const SIDE_MAX = 1024;

/** The middle of a picture, as wide and high as `aspect` (width / height) has it. Throws where it is none. */
export async function pixelsOf(file: Blob, aspect: number, transparent: boolean): Promise<Pixels> {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error('This file is no picture that the browser can read: choose a PNG, JPEG, WebP or GIF.');
  });
  const [width, height] = cropped(bitmap.width, bitmap.height, aspect);
  const shrink = Math.min(1, SIDE_MAX / Math.max(width, height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(width * shrink));
  canvas.height = Math.max(1, Math.round(height * shrink));
  const context = contextOf(canvas);
  if (!transparent) {
    context.fillStyle = '#fff';
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  context.imageSmoothingQuality = 'high';
  const [left, top] = [(bitmap.width - width) / 2, (bitmap.height - height) / 2];
  context.drawImage(bitmap, left, top, width, height, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return pixelsOn(canvas);
}

export function pixelsOn(canvas: HTMLCanvasElement): Pixels {
  const { width, height, data } = contextOf(canvas).getImageData(0, 0, canvas.width, canvas.height);
  return { width, height, data };
}

export function paint(canvas: HTMLCanvasElement, { width, height, data }: Pixels): void {
  canvas.width = width;
  canvas.height = height;
  contextOf(canvas).putImageData(new ImageData(Uint8ClampedArray.from(data), width, height), 0, 0);
}

export function contextOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error('This browser cannot draw.');
  return context;
}

/** The largest part of this aspect. */
function cropped(width: number, height: number, aspect: number): [number, number] {
  return width / height > aspect ? [height * aspect, height] : [width, width / aspect];
}
