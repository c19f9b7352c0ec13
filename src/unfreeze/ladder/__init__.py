"""One task on every rung of transfer learning, for rising numbers of labels: `unfreeze ladder`."""
