"""limiter"""
