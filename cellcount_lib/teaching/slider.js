(() => {
const box = document.getElementById("NAME"), range = box.querySelector("input");
const images = [...box.querySelectorAll("img")], said = box.querySelector("output");
const show = () => {
  images.forEach((image, at) => { image.style.display = at == range.value ? "" : "none"; });
  said.textContent = images[range.value].dataset.label;
  range.setAttribute("aria-valuetext", said.textContent);
};
range.addEventListener("input", show);
show();
})();
