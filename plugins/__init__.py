"""The built-in plugins: one file each, found by walking this folder, by the same hooks as anyone's."""
