import reactHooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

const FEATURES = ['account', 'audit', 'demo', 'fleet', 'keys', 'metrics', 'models', 'playground', 'samples'];

const MANTINE = {
  name: '@mantine/core',
  importNames: ['AppShell', 'Grid', 'SimpleGrid', 'Flex'],
  message: 'It injects a style element, which the content security policy refuses. Use a CSS module.',
};

/** shared (components, config, lib) → features → app; a feature knows no other feature, itself by relative paths. */
const layers = [
  {
    files: ['src/{components,config,lib}/**'],
    patterns: [{ regex: '(^@|^\\.\\..*)/(features|app)/', message: 'Shared code knows no feature.' }],
  },
  {
    files: ['src/features/**'],
    patterns: [
      { regex: '(^@|^\\.\\..*)/app/', message: 'A feature does not know the app it is in.' },
      { regex: '^@/features/', message: 'Features meet in src/app only.' },
      { regex: `^(\\.\\./)+(${FEATURES.join('|')})/`, message: 'Features meet in src/app only.' },
    ],
  },
];

export default tseslint.config(
  { ignores: ['dist', 'node_modules', 'src/lib/api/schema.d.ts'] },
  ...tseslint.configs.strictTypeChecked,
  ...tseslint.configs.stylisticTypeChecked,
  reactHooks.configs.flat['recommended-latest'],
  {
    files: ['**/*.{ts,tsx}'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      complexity: ['error', 10],
      'max-lines': ['error', 400],
      'no-console': 'error',
      'no-restricted-imports': ['error', { paths: [MANTINE] }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/only-throw-error': 'off', // the router's redirects are thrown
    },
  },
  ...layers.map(({ files, patterns }) => ({
    files,
    rules: { 'no-restricted-imports': ['error', { paths: [MANTINE], patterns }] },
  })),
  { files: ['**/*.{js,mjs}'], extends: [tseslint.configs.disableTypeChecked] },
);
