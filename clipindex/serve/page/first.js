// Before the first paint: whether the address already names a search. Otherwise the field would
// first stand in the middle of the page and then jump to its top.
"use strict";
const terms = ["q", "minus", "like", "unlike", "image"];
const given = new URLSearchParams(location.search);
document.documentElement.classList.toggle("is-start", !terms.some((name) => given.get(name)));
