"""The charts and the two engines that render them."""
