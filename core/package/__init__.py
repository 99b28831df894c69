"""What a registered model is made of: the package that serves, proves itself and says whence it comes."""
