import { describe, expect, it } from 'vitest';

import { pictureOf } from './picture';
import { SAMPLES } from './samples';
import { answerText, curlOf, type Demo } from './snippets';

const DEMO: Demo = {
  model_id: 'e80d16fb',
  name: 'digits',
  token: 'mr_x',
  input: 'modelInput',
  shape: [null, 64],
  url: 'http://127.0.0.1:5000/inference',
};

describe('curlOf', () => {
  it.each([[[null, 64]], [[null, 8, 8]]])('has the very request in it, for inputs of %j', (shape) => {
    const picture = pictureOf(SAMPLES[3] ?? []);
    const text = curlOf({ ...DEMO, shape }, picture);
    const body = JSON.parse(text.slice(text.indexOf("'\n{") + 1, -1)) as {
      inputs: { modelInput: number[][] };
    };
    expect(text.startsWith('curl http://127.0.0.1:5000/inference ')).toBe(true);
    expect(body).toMatchObject({ token: 'mr_x', model: 'e80d16fb' });
    expect(body.inputs.modelInput.flat(3)).toEqual(picture.map((ink) => ink / 16));
  });

  it('is one text for the shell, whatever the input is called', () => {
    const text = curlOf({ ...DEMO, input: `a'"b` }, pictureOf([]));
    const body = text.slice(text.indexOf("'\n{") + 1, -1).replaceAll("'\\''", "'");
    expect(JSON.parse(body)).toHaveProperty(['inputs', `a'"b`]);
  });
});

describe('answerText', () => {
  it('is JSON, shortened', () => {
    const text = answerText({ modelOutput: [4], probabilities: [[3.47e-6, 0.9987406]] });
    expect(JSON.parse(text)).toEqual({ result: { modelOutput: [4], probabilities: [[0, 0.9987]] } });
  });
});
