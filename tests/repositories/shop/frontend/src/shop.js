const list = document.getElementById("articles");
const articles = await (await fetch("/api/articles")).json();
for (const { name, cents } of articles) {
  const item = document.createElement("li");
  item.textContent = `${name}: ${(cents / 100).toFixed(2)}`;
  list.append(item);
}
