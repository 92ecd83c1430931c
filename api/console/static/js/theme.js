// Sets the colours that the user chose before anything is painted. Loaded as a classic script in the head.
"use strict";
{
  const chosen = localStorage.getItem("llm-api.theme");
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
}
