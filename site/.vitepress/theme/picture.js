import url from 'mermaid/dist/mermaid.min.js?url';
import { useData } from 'vitepress';
import { defineComponent, h, onMounted, ref, useId, watch } from 'vue';

/** Mermaid as its package has it, a script of its own: pages without pictures do not load it, and the build does not bundle it. */
function loadMermaid() {
  loading ??= new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement('script'), { src: url, onerror: reject });
    script.onload = () => resolve(window.mermaid);
    document.head.append(script);
  });
  return loading;
}
let loading;

/** A Mermaid diagram. Until it is drawn, and without scripts, its source stands there. */
export const Picture = defineComponent({
  props: { source: { type: String, required: true } },
  setup(props) {
    const { isDark } = useData();
    const source = decodeURIComponent(props.source);
    const id = `picture-${useId()}`;
    const svg = ref();
    const draw = async () => {
      const mermaid = await loadMermaid();
      mermaid.initialize({ startOnLoad: false, theme: isDark.value ? 'dark' : 'neutral' });
      svg.value = (await mermaid.render(id, source)).svg;
    };
    onMounted(draw);
    watch(isDark, draw);
    return () => (svg.value ? h('div', { innerHTML: svg.value }) : h('pre', source));
  },
});
