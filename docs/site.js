// Tables that scroll sideways can be reached, and so scrolled, with the keyboard.
addEventListener("load", () => {
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const wrap of document.querySelectorAll(".md-typeset__scrollwrap")) sizes.observe(wrap);
});
