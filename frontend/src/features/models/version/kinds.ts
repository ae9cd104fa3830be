const MEANS: Readonly<Record<string, string>> = {
  sample: 'Rows that its owner gave',
  ordinary: 'Made-up rows of the usual size',
  size: 'Runs of several sizes',
  boundary: 'Either side of the original’s own decision boundaries',
  threshold: 'At, just below and just above the splits of trees',
  zero: 'Nothing but zeros',
  NaN: 'Missing numbers',
  infinite: 'Infinite numbers',
  huge: 'Very large numbers',
  denormal: 'Numbers so small that precision is lost',
  'integer limit': 'The largest and smallest whole numbers',
  'unseen category': 'Texts that it was not trained on',
  'unseen number': 'Codes that it was not trained on',
  'empty string': 'Empty texts',
  'non-ASCII string': 'Texts in other alphabets',
};

/** What rows of a kind are; empty for one that is not known here. */
export function kindMeans(kind: string): string {
  return MEANS[kind] ?? '';
}
