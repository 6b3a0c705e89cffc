"""The MNI152 average head: images and labels that are free to be passed on, and nuclei drawn in it."""
