"use strict";
// Loaded before anything is painted: the page has Airflow's theme, and changes with it.
{
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // Airflow around the frame; null if the page is opened by itself.
  const airflow = parent === window ? null : parent.document.documentElement;

  const apply = () => {
    const chosen = airflow?.className.match(/\b(dark|light)\b/)?.[0] ?? localStorage.getItem("theme");
    const theme = chosen === "dark" || chosen === "light" ? chosen : dark.matches ? "dark" : "light";
    document.documentElement.className = theme;
  };

  apply();
  dark.addEventListener("change", apply);
  addEventListener("storage", apply);
  if (airflow) new MutationObserver(apply).observe(airflow, { attributes: true, attributeFilter: ["class"] });
}
