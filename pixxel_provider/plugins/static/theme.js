"use strict";
// Loaded before anything paints: the page wears the theme that Airflow wears, and changes with it.
{
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // Airflow around the frame; nobody's when the page is opened by itself.
  const around = parent === window ? null : parent.document.documentElement;

  const wear = () => {
    const chosen = around?.className.match(/\b(dark|light)\b/)?.[0] ?? localStorage.getItem("theme");
    const theme = chosen === "dark" || chosen === "light" ? chosen : dark.matches ? "dark" : "light";
    document.documentElement.className = theme;
  };

  wear();
  dark.addEventListener("change", wear);
  addEventListener("storage", wear);
  if (around) new MutationObserver(wear).observe(around, { attributes: true, attributeFilter: ["class"] });
}
