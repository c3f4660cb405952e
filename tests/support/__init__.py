"""Code that several tests share: real servers and clients, random traffic, and models to compare with."""
