// Sets the theme before the first paint. A classic script in <head>, because inline script is forbidden
// and a module would come after the paint. It owns the key "cb.theme" (light, dark, or none for the
// device's own); the settings dialog writes it, other tabs follow through the storage event.
(function () {
  'use strict';
  function apply() {
    var theme = null;
    try { theme = localStorage.getItem('cb.theme'); } catch (e) { /* storage may be off: the device decides */ }
    if (theme === 'light' || theme === 'dark') document.documentElement.setAttribute('data-theme', theme);
    else document.documentElement.removeAttribute('data-theme');
  }
  apply();
  addEventListener('storage', function (e) { if (e.key === 'cb.theme' || e.key === null) apply(); });
}());
