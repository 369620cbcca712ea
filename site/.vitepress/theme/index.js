import DefaultTheme from 'vitepress/theme';

import { Picture } from './picture.js';

export default {
  extends: DefaultTheme,
  enhanceApp({ app }) {
    app.component('Picture', Picture);
  },
};
